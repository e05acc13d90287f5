// `vitrine-libvirt`: the only executable that links libvirt. `vitrine` starts it for a `libvirt:` target and talks to it over
// a socket (docs/libvirt-targets.md); nobody else has a use for it.

import Glibc

signal(SIGPIPE, SIG_IGN)

let words = Array(CommandLine.arguments.dropFirst())
guard words.count >= 3, words[0] == "--fd", let number = Int32(words[1]), words.count <= 4 else {
    print("vitrine-libvirt: vitrine starts this program for targets 'libvirt:DOMAIN'; see vitrine pages --help.")
    exit(words.contains("--help") || words.contains("--version") ? 0 : 2)
}
exit(Session(descriptor: number, uri: words[2], domain: words.count > 3 ? words[3] : nil).run())
