// `vitrine`: the command line. docs/cli.md describes it.

import Glibc

signal(SIGPIPE, SIG_IGN)
if CommandLine.arguments.isEmpty {
    // Swift reads it from there.
    complain("the command line cannot be read (/proc/self/cmdline); is /proc mounted?")
    exit(ExitStatus.unable.rawValue)
}
exit(CommandLineInterface.run(CommandLine.arguments, verbs: allVerbs, output: Output()).rawValue)
