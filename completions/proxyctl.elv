
use builtin;
use str;

set edit:completion:arg-completer[proxyctl] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'proxyctl'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'proxyctl'= {
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand reload-tls 'Read the TLS files again and serve what they hold'
            cand reload 'Read the configuration file and the TLS files again'
            cand tls-rollback 'Serve the TLS material of the generation before again, until the next reload'
            cand status 'Show what runs, what it serves, since when, and what crashed'
            cand set-on-exit-failure 'Set, clear or show the command to run when a worker fails'
            cand check 'Tell a monitoring system whether somebody must act'
            cand verify 'Tell whether what is on disk would load and work, without loading it'
            cand events 'Show what happened: reloads, crashes, restarts, commands run'
            cand drain 'Stop accepting, let sessions end, and end the daemon'
            cand stop 'End the daemon and its sessions at once'
            cand sessions 'Show the sessions that are open, the oldest first'
            cand end 'End sessions, and tell both sides of each'
            cand demo 'Run a throw-away daemon and show what a reload and a crash do'
            cand completions 'Print a shell completion script'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'proxyctl;reload-tls'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --read-all 'Read every file, whatever its times say'
            cand --all-or-nothing 'Take nothing if anything on disk is broken'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;reload'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --all-or-nothing 'Take nothing if anything on disk is broken'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;tls-rollback'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;status'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --watch 'Show it again every second, until Ctrl-C'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;set-on-exit-failure'= {
            cand --timeout 'How long the command may run before it is killed [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --clear 'Take back the command that was set; the configuration''s holds again'
            cand --show 'Show the command in force and how its last run ended'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;check'= {
            cand --warn 'Warn when a certificate has this left: 30d, 12h, or 33% of its lifetime'
            cand --critical 'The same, for the critical state'
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;verify'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;events'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --follow 'Go on as events happen, until Ctrl-C'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;drain'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;stop'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;sessions'= {
            cand --listener 'Sessions of this listener'
            cand --client 'Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7'
            cand --older-than 'Sessions whose client connected longer ago than this: 30m, 12h or 7d'
            cand --generation-before 'Sessions whose TLS began with a generation before this one'
            cand --client-cert 'Sessions whose client has shown the certificate with this SHA-256'
            cand --limit 'Show no more than so many, the oldest'
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --watch 'Show them again every second, until Ctrl-C'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;end'= {
            cand --listener 'Sessions of this listener'
            cand --client 'Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7'
            cand --older-than 'Sessions whose client connected longer ago than this: 30m, 12h or 7d'
            cand --generation-before 'Sessions whose TLS began with a generation before this one'
            cand --client-cert 'Sessions whose client has shown the certificate with this SHA-256'
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --dry-run 'Show which sessions would be ended, and end none'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;demo'= {
            cand --timeout 'How long to wait for the daemon [default: 10s]'
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;completions'= {
            cand --socket 'The daemon''s control socket [env: PROXYD_SOCKET]'
            cand --json 'Print one JSON document instead of text'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'proxyctl;help'= {
            cand reload-tls 'Read the TLS files again and serve what they hold'
            cand reload 'Read the configuration file and the TLS files again'
            cand tls-rollback 'Serve the TLS material of the generation before again, until the next reload'
            cand status 'Show what runs, what it serves, since when, and what crashed'
            cand set-on-exit-failure 'Set, clear or show the command to run when a worker fails'
            cand check 'Tell a monitoring system whether somebody must act'
            cand verify 'Tell whether what is on disk would load and work, without loading it'
            cand events 'Show what happened: reloads, crashes, restarts, commands run'
            cand drain 'Stop accepting, let sessions end, and end the daemon'
            cand stop 'End the daemon and its sessions at once'
            cand sessions 'Show the sessions that are open, the oldest first'
            cand end 'End sessions, and tell both sides of each'
            cand demo 'Run a throw-away daemon and show what a reload and a crash do'
            cand completions 'Print a shell completion script'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'proxyctl;help;reload-tls'= {
        }
        &'proxyctl;help;reload'= {
        }
        &'proxyctl;help;tls-rollback'= {
        }
        &'proxyctl;help;status'= {
        }
        &'proxyctl;help;set-on-exit-failure'= {
        }
        &'proxyctl;help;check'= {
        }
        &'proxyctl;help;verify'= {
        }
        &'proxyctl;help;events'= {
        }
        &'proxyctl;help;drain'= {
        }
        &'proxyctl;help;stop'= {
        }
        &'proxyctl;help;sessions'= {
        }
        &'proxyctl;help;end'= {
        }
        &'proxyctl;help;demo'= {
        }
        &'proxyctl;help;completions'= {
        }
        &'proxyctl;help;help'= {
        }
    ]
    $completions[$command]
}
