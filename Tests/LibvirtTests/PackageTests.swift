import Foundation
import TestSupport
import Testing

/// The Debian package, made of what was built, and what it installs.
extension LibvirtTests {
    @Suite(
        .enabled(
            if: LibvirtHost.isInstalled("dpkg-deb") && LibvirtHost.isInstalled("dpkg-shlibdeps"), "needs dpkg-dev"))
    struct PackageTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        /// The package's path. Its data is hardly compressed: that is what takes long.
        private func package(in folder: TemporaryFolder) throws -> String {
            let made = try command(
                LibvirtHost.package.appending(path: "Tools/package/make-deb").path,
                [LibvirtHost.binaries.path, try PrivateLibvirt.images(), folder.path],
                environment: ["DEB_COMPRESSION": "gzip -z1"], timeout: 120)
            try #require(made.status == 0, "\(made)")
            return try #require(made.lines.last)
        }

        @Test func installedAndUsed() throws {
            let folder = try TemporaryFolder()
            let package = try package(in: folder)
            let fields = try command("/usr/bin/dpkg-deb", ["--field", package]).output
            #expect(fields.contains("\nRecommends: ") && fields.contains("libvirt0 (>= "), "\(fields)")
            // The programs but one need nothing.
            #expect(!fields.contains("\nDepends: "))
            try intoAnEmptySystem(package, folder)
            try underLibvirt(package)
        }

        /// Nothing is there but the package: dpkg puts it there, and a guest boots with the images that it brought.
        private func intoAnEmptySystem(_ package: String, _ folder: TemporaryFolder) throws {
            let script = """
                set -e
                root=$1/root
                mkdir -p $root/var/lib/dpkg/info $root/var/lib/dpkg/updates $root/dev $root/proc $root/tmp
                touch $root/var/lib/dpkg/status
                dpkg --root=$root --install "$2" >/dev/null
                mount --rbind /dev $root/dev
                mount -t proc none $root/proc
                export XDG_RUNTIME_DIR=/tmp
                run() { chroot $root /usr/bin/vitrine "$@"; }
                run --version
                run run --name t-package --memory 64M --program hello --detach --wait-ready 60
                run audit t-package | tail -n 1
                run stop t-package --timeout 60
                run list
                for file in bash-completion/completions/vitrine zsh/vendor-completions/_vitrine \\
                    fish/vendor_completions.d/vitrine.fish man/man1/vitrine.1.gz man/man1/vitrine-vmm.1.gz \\
                    man/man1/vitrine-qemu.1.gz man/man1/vitrine-libvirt.1.gz doc/vitrine/examples/apparmor-libvirt-qemu \\
                    doc/vitrine/copyright doc/vitrine/changelog.gz; do
                    test -s $root/usr/share/$file
                done
                dpkg --root=$root --purge vitrine >/dev/null
                test ! -e $root/usr/bin/vitrine
                """
            let result = try command(
                "/usr/bin/unshare", ["-m", "/bin/sh", "-c", script, "sh", folder.path, package], timeout: 180)
            #expect(result.status == 0, "\(result)")
            #expect(result.lines.first?.hasPrefix("vitrine ") == true, "\(result)")
            #expect(result.lines.last == "no guests (vitrine run starts one)", "\(result)")
        }

        /// Installed over /usr of the private libvirtd: its user runs the emulator, which finds its images.
        private func underLibvirt(_ package: String) throws {
            let installed = try libvirt.shell(
                "cp \(package) /run/package.deb && mkdir -m 755 /run/package && dpkg-deb -x /run/package.deb /run/package"
                    + " && mount -t overlay -o lowerdir=/run/package/usr:/usr none /usr")
            try #require(installed.status == 0, "\(installed)")
            defer { _ = try? libvirt.shell("umount -l /usr; rm -rf /run/package /run/package.deb") }
            let domain = try TestDomain(libvirt, "packaged", define: false)
            let xml = try libvirt.write(
                "packaged.xml", TestDomain.xml(domain.name, emulator: "/usr/bin/vitrine-qemu"))
            let made = try libvirt.virsh("create", xml)
            try #require(made.status == 0, "\(made.errors)")
            #expect(try domain.isReady())
            let process = "/proc/$(cat /run/libvirt/qemu/\(domain.name).pid)"
            #expect(
                try libvirt.shell("stat -c %U \(process); readlink \(process)/exe").lines == [
                    "libvirt-qemu", "/usr/bin/vitrine-qemu",
                ])
            #expect(try domain.virsh("shutdown").status == 0)
            #expect(try libvirt.wait { try libvirt.virsh("domstate", domain.name).status != 0 })
        }
    }
}
