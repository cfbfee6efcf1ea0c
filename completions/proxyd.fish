complete -c proxyd -s c -l config -d 'Read the configuration from this file [env: PROXYD_CONFIG] [default: /etc/proxyd/proxyd.toml]' -r -F
complete -c proxyd -l listen -d 'Serve one listener at this address, without a configuration file' -r
complete -c proxyd -l backend -d 'Connect the listener\'s sessions to this address' -r
complete -c proxyd -l protocol -d 'Expect this protocol at the listener [default: tcp]' -r
complete -c proxyd -l workers -d 'Run this many worker processes [default: one for each CPU that proxyd may use]' -r
complete -c proxyd -l state-dir -d 'Keep created certificates and other state in this directory' -r -F
complete -c proxyd -l control-socket -d 'Take requests from proxyctl at this Unix socket [env: PROXYD_SOCKET]' -r -F
complete -c proxyd -l pid-file -d 'Write the process id to this file and hold a lock on it' -r -F
complete -c proxyd -l log-format -d 'Write log lines in this format [default: text]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c proxyd -l log-level -d 'Write log lines of this severity and above [default: info]' -r -f -a "error\t'Something failed, and an operator must look at it'
warn\t'Something is wrong, but the service goes on'
info\t'What an operator wants to read the next day'
debug\t'What a developer wants to read'
trace\t'Everything'"
complete -c proxyd -l foreground -d 'Stay in the foreground; this is the default'
complete -c proxyd -l daemonize -d 'Go to the background once a worker serves every listener'
complete -c proxyd -l check-config -d 'Check the configuration and exit'
complete -c proxyd -s h -l help -d 'Print help (see more with \'--help\')'
complete -c proxyd -s V -l version -d 'Print version'
