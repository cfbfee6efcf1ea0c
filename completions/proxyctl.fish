# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_proxyctl_global_optspecs
    string join \n socket= json timeout= h/help V/version
end

function __fish_proxyctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_proxyctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_proxyctl_using_subcommand
    set -l cmd (__fish_proxyctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c proxyctl -n "__fish_proxyctl_needs_command" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_needs_command" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_needs_command" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -s V -l version -d 'Print version'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "reload-tls" -d 'Read the TLS files again and serve what they hold'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "reload" -d 'Read the configuration file and the TLS files again'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "tls-rollback" -d 'Serve the TLS material of the generation before again, until the next reload'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "status" -d 'Show what runs, what it serves, since when, and what crashed'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "set-on-exit-failure" -d 'Set, clear or show the command to run when a worker fails'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "check" -d 'Tell a monitoring system whether somebody must act'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "verify" -d 'Tell whether what is on disk would load and work, without loading it'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "events" -d 'Show what happened: reloads, crashes, restarts, commands run'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "drain" -d 'Stop accepting, let sessions end, and end the daemon'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "stop" -d 'End the daemon and its sessions at once'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "sessions" -d 'Show the sessions that are open, the oldest first'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "end" -d 'End sessions, and tell both sides of each'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "demo" -d 'Run a throw-away daemon and show what a reload and a crash do'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "completions" -d 'Print a shell completion script'
complete -c proxyctl -n "__fish_proxyctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload-tls" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload-tls" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload-tls" -l read-all -d 'Read every file, whatever its times say'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload-tls" -l all-or-nothing -d 'Take nothing if anything on disk is broken'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload-tls" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload-tls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload" -l all-or-nothing -d 'Take nothing if anything on disk is broken'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand tls-rollback" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand tls-rollback" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand tls-rollback" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand tls-rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand status" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand status" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand status" -l watch -d 'Show it again every second, until Ctrl-C'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand status" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand set-on-exit-failure" -l timeout -d 'How long the command may run before it is killed [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand set-on-exit-failure" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand set-on-exit-failure" -l clear -d 'Take back the command that was set; the configuration\'s holds again'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand set-on-exit-failure" -l show -d 'Show the command in force and how its last run ended'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand set-on-exit-failure" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand set-on-exit-failure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand check" -l warn -d 'Warn when a certificate has this left: 30d, 12h, or 33% of its lifetime' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand check" -l critical -d 'The same, for the critical state' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand check" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand check" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand check" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand verify" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand verify" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand verify" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand events" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand events" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand events" -l follow -d 'Go on as events happen, until Ctrl-C'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand events" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand drain" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand drain" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand drain" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand stop" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand stop" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand stop" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l listener -d 'Sessions of this listener' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l client -d 'Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l older-than -d 'Sessions whose client connected longer ago than this: 30m, 12h or 7d' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l generation-before -d 'Sessions whose TLS began with a generation before this one' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l client-cert -d 'Sessions whose client has shown the certificate with this SHA-256' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l limit -d 'Show no more than so many, the oldest' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l watch -d 'Show them again every second, until Ctrl-C'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand sessions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l listener -d 'Sessions of this listener' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l client -d 'Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l older-than -d 'Sessions whose client connected longer ago than this: 30m, 12h or 7d' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l generation-before -d 'Sessions whose TLS began with a generation before this one' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l client-cert -d 'Sessions whose client has shown the certificate with this SHA-256' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l dry-run -d 'Show which sessions would be ended, and end none'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand end" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand demo" -l timeout -d 'How long to wait for the daemon [default: 10s]' -r
complete -c proxyctl -n "__fish_proxyctl_using_subcommand demo" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand demo" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand completions" -l socket -d 'The daemon\'s control socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyctl -n "__fish_proxyctl_using_subcommand completions" -l json -d 'Print one JSON document instead of text'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "reload-tls" -d 'Read the TLS files again and serve what they hold'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "reload" -d 'Read the configuration file and the TLS files again'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "tls-rollback" -d 'Serve the TLS material of the generation before again, until the next reload'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "status" -d 'Show what runs, what it serves, since when, and what crashed'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "set-on-exit-failure" -d 'Set, clear or show the command to run when a worker fails'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "check" -d 'Tell a monitoring system whether somebody must act'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "verify" -d 'Tell whether what is on disk would load and work, without loading it'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "events" -d 'Show what happened: reloads, crashes, restarts, commands run'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "drain" -d 'Stop accepting, let sessions end, and end the daemon'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "stop" -d 'End the daemon and its sessions at once'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "sessions" -d 'Show the sessions that are open, the oldest first'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "end" -d 'End sessions, and tell both sides of each'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "demo" -d 'Run a throw-away daemon and show what a reload and a crash do'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "completions" -d 'Print a shell completion script'
complete -c proxyctl -n "__fish_proxyctl_using_subcommand help; and not __fish_seen_subcommand_from reload-tls reload tls-rollback status set-on-exit-failure check verify events drain stop sessions end demo completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
