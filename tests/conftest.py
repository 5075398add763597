"""What every test process needs: Ctrl-C that works for the programs that tests start and interrupt."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores it, and so would everything that is started from here
    signal.signal(signal.SIGINT, signal.default_int_handler)
