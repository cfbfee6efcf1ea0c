
set edit:completion:arg-completer[proxyctl] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) PROXYCTL_COMPLETE="elvish" proxyctl -- $@words) | to-lines
}

