// Where the benchmarks' own libvirtd lives.

/// The beginning of a shell script in namespaces of its own: empty memory for libvirtd's folders, and what configures it. A libvirtd started
/// after it ends with the shell.
let libvirtdFolders = """
    set -e
    umount -R -l /sys/fs/cgroup 2>/dev/null || true
    for folder in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
        mkdir -p $folder
        mount -t tmpfs -o mode=755 none $folder
    done
    mkdir -p /run/lock /run/vitrine/bin /run/vitrine/share/vitrine
    mkdir -m 1777 /run/scratch
    printf 'stdio_handler = "file"\\nsecurity_driver = "none"\\n' >/etc/libvirt/qemu.conf
    printf 'auth_unix_rw = "none"\\n' >/etc/libvirt/libvirtd.conf

    """
