
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'proxyctl' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'proxyctl'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'proxyctl' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('reload-tls', 'reload-tls', [CompletionResultType]::ParameterValue, 'Read the TLS files again and serve what they hold')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Read the configuration file and the TLS files again')
            [CompletionResult]::new('tls-rollback', 'tls-rollback', [CompletionResultType]::ParameterValue, 'Serve the TLS material of the generation before again, until the next reload')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what runs, what it serves, since when, and what crashed')
            [CompletionResult]::new('set-on-exit-failure', 'set-on-exit-failure', [CompletionResultType]::ParameterValue, 'Set, clear or show the command to run when a worker fails')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Tell a monitoring system whether somebody must act')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Tell whether what is on disk would load and work, without loading it')
            [CompletionResult]::new('events', 'events', [CompletionResultType]::ParameterValue, 'Show what happened: reloads, crashes, restarts, commands run')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Stop accepting, let sessions end, and end the daemon')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'End the daemon and its sessions at once')
            [CompletionResult]::new('sessions', 'sessions', [CompletionResultType]::ParameterValue, 'Show the sessions that are open, the oldest first')
            [CompletionResult]::new('end', 'end', [CompletionResultType]::ParameterValue, 'End sessions, and tell both sides of each')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Run a throw-away daemon and show what a reload and a crash do')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a shell completion script')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'proxyctl;reload-tls' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--read-all', '--read-all', [CompletionResultType]::ParameterName, 'Read every file, whatever its times say')
            [CompletionResult]::new('--all-or-nothing', '--all-or-nothing', [CompletionResultType]::ParameterName, 'Take nothing if anything on disk is broken')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;reload' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--all-or-nothing', '--all-or-nothing', [CompletionResultType]::ParameterName, 'Take nothing if anything on disk is broken')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;tls-rollback' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;status' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Show it again every second, until Ctrl-C')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;set-on-exit-failure' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long the command may run before it is killed [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--clear', '--clear', [CompletionResultType]::ParameterName, 'Take back the command that was set; the configuration''s holds again')
            [CompletionResult]::new('--show', '--show', [CompletionResultType]::ParameterName, 'Show the command in force and how its last run ended')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;check' {
            [CompletionResult]::new('--warn', '--warn', [CompletionResultType]::ParameterName, 'Warn when a certificate has this left: 30d, 12h, or 33% of its lifetime')
            [CompletionResult]::new('--critical', '--critical', [CompletionResultType]::ParameterName, 'The same, for the critical state')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;verify' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;events' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Go on as events happen, until Ctrl-C')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;drain' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;stop' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;sessions' {
            [CompletionResult]::new('--listener', '--listener', [CompletionResultType]::ParameterName, 'Sessions of this listener')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7')
            [CompletionResult]::new('--older-than', '--older-than', [CompletionResultType]::ParameterName, 'Sessions whose client connected longer ago than this: 30m, 12h or 7d')
            [CompletionResult]::new('--generation-before', '--generation-before', [CompletionResultType]::ParameterName, 'Sessions whose TLS began with a generation before this one')
            [CompletionResult]::new('--client-cert', '--client-cert', [CompletionResultType]::ParameterName, 'Sessions whose client has shown the certificate with this SHA-256')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'Show no more than so many, the oldest')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Show them again every second, until Ctrl-C')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;end' {
            [CompletionResult]::new('--listener', '--listener', [CompletionResultType]::ParameterName, 'Sessions of this listener')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7')
            [CompletionResult]::new('--older-than', '--older-than', [CompletionResultType]::ParameterName, 'Sessions whose client connected longer ago than this: 30m, 12h or 7d')
            [CompletionResult]::new('--generation-before', '--generation-before', [CompletionResultType]::ParameterName, 'Sessions whose TLS began with a generation before this one')
            [CompletionResult]::new('--client-cert', '--client-cert', [CompletionResultType]::ParameterName, 'Sessions whose client has shown the certificate with this SHA-256')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Show which sessions would be ended, and end none')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;demo' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the daemon [default: 10s]')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;completions' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s control socket [env: PROXYD_SOCKET]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'proxyctl;help' {
            [CompletionResult]::new('reload-tls', 'reload-tls', [CompletionResultType]::ParameterValue, 'Read the TLS files again and serve what they hold')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Read the configuration file and the TLS files again')
            [CompletionResult]::new('tls-rollback', 'tls-rollback', [CompletionResultType]::ParameterValue, 'Serve the TLS material of the generation before again, until the next reload')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what runs, what it serves, since when, and what crashed')
            [CompletionResult]::new('set-on-exit-failure', 'set-on-exit-failure', [CompletionResultType]::ParameterValue, 'Set, clear or show the command to run when a worker fails')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Tell a monitoring system whether somebody must act')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Tell whether what is on disk would load and work, without loading it')
            [CompletionResult]::new('events', 'events', [CompletionResultType]::ParameterValue, 'Show what happened: reloads, crashes, restarts, commands run')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Stop accepting, let sessions end, and end the daemon')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'End the daemon and its sessions at once')
            [CompletionResult]::new('sessions', 'sessions', [CompletionResultType]::ParameterValue, 'Show the sessions that are open, the oldest first')
            [CompletionResult]::new('end', 'end', [CompletionResultType]::ParameterValue, 'End sessions, and tell both sides of each')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Run a throw-away daemon and show what a reload and a crash do')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a shell completion script')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'proxyctl;help;reload-tls' {
            break
        }
        'proxyctl;help;reload' {
            break
        }
        'proxyctl;help;tls-rollback' {
            break
        }
        'proxyctl;help;status' {
            break
        }
        'proxyctl;help;set-on-exit-failure' {
            break
        }
        'proxyctl;help;check' {
            break
        }
        'proxyctl;help;verify' {
            break
        }
        'proxyctl;help;events' {
            break
        }
        'proxyctl;help;drain' {
            break
        }
        'proxyctl;help;stop' {
            break
        }
        'proxyctl;help;sessions' {
            break
        }
        'proxyctl;help;end' {
            break
        }
        'proxyctl;help;demo' {
            break
        }
        'proxyctl;help;completions' {
            break
        }
        'proxyctl;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
