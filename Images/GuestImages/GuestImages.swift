// Where the guest images are.

import Glibc
import SystemCalls

/// The guest images that were built with this program, by name.
public enum GuestImages {
    /// The folders searched for an image, in order: the one named by VITRINE_IMAGES, the one an installation has
    /// (`PREFIX/share/vitrine` beside `PREFIX/bin`), the build's own.
    public static func folders() -> [String] {
        var folders: [String] = []
        if let named = getenv("VITRINE_IMAGES") { folders.append(String(cString: named)) }
        guard let binaries = executableFolder() else { return folders }
        folders.append(parent(of: binaries) + "/share/vitrine")
        // .build/x86_64-unknown-linux-gnu/release/vitrine -> .build/plugins/outputs/PACKAGE/GuestImages/destination/PLUGIN
        let scratch = parent(of: parent(of: binaries))
        let outputs = scratch + "/plugins/outputs"
        for package in (try? Files.names(in: outputs)) ?? [] where !package.hasPrefix(".") {
            folders.append("\(outputs)/\(package)/GuestImages/destination/BuildGuestImages")
        }
        return folders
    }

    /// The path of an image, or nil if no folder has it.
    public static func path(of name: String) -> String? {
        for folder in folders() {
            let candidate = folder + "/" + name
            if access(candidate, R_OK) == 0 { return candidate }
        }
        return nil
    }

    /// The folder of the file this process runs, with symbolic links resolved; nil if /proc does not tell.
    public static func executableFolder() -> String? {
        Files.link("/proc/self/exe").map(parent(of:))
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
