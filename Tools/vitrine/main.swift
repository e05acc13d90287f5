// `vitrine`: the command line. docs/cli.md describes it.

import Glibc

signal(SIGPIPE, SIG_IGN)
exit(CommandLineInterface.run(CommandLine.arguments, verbs: allVerbs, output: Output()).rawValue)
