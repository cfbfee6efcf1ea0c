
use builtin;
use str;

set edit:completion:arg-completer[proxyd] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'proxyd'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'proxyd'= {
            cand -c 'Read the configuration from this file [env: PROXYD_CONFIG] [default: /etc/proxyd/proxyd.toml]'
            cand --config 'Read the configuration from this file [env: PROXYD_CONFIG] [default: /etc/proxyd/proxyd.toml]'
            cand --listen 'Serve one listener at this address, without a configuration file'
            cand --backend 'Connect the listener''s sessions to this address'
            cand --protocol 'Expect this protocol at the listener [default: tcp]'
            cand --workers 'Run this many worker processes [default: one for each CPU that proxyd may use]'
            cand --state-dir 'Keep created certificates and other state in this directory'
            cand --control-socket 'Take requests from proxyctl at this Unix socket [env: PROXYD_SOCKET]'
            cand --pid-file 'Write the process id to this file and hold a lock on it'
            cand --log-format 'Write log lines in this format [default: text]'
            cand --log-level 'Write log lines of this severity and above [default: info]'
            cand --foreground 'Stay in the foreground; this is the default'
            cand --daemonize 'Go to the background once a worker serves every listener'
            cand --check-config 'Check the configuration and exit'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
    ]
    $completions[$command]
}
