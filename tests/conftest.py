"""What every test process needs: signals that work for the programs that tests start and interrupt."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores it, and so would everything that is started from here
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # so does everything below nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
