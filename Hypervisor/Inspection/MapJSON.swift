// The contents of the picture for programs, schema vitrine.map/1.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables
import SecondStage

/// The three rows and what leads where, as JSON.
public func mapJSON(_ subject: Subject, pid: Int32, backing: BackingPages? = nil) -> [UInt8] {
    let host = backing.map(HostPages.bySlot)
    let contents = MapContents(subject)
    var writer = JSONWriter()
    writer.object { writer in
        writer.member("schema", "vitrine.map/1")
        writer.member("target", subject.name)
        writer.member("layout", subject.layout?.name)
        subject.writeRoots(into: &writer)
        writer.member("mode", subject.format.name)
        writer.member("moment", subject.moment)
        writer.member("pid", pid)
        writer.key("virtual")
        writer.array { writer in
            for region in contents.regions {
                writer.object { writer in
                    writer.member("name", region.name)
                    writer.member("va", hex: region.first.rawValue)
                    writer.member("size", (region.last &- region.first) &+ 1)
                    writer.member("mapped", region.mapped)
                    writer.member("ranges", region.ranges.count)
                    writer.key("physical")
                    writer.array { writer in for target in contents.targets(of: region) { writer.value(target) } }
                }
            }
        }
        writer.key("physical")
        writer.array { writer in
            for piece in contents.pieces {
                writer.object { writer in
                    writer.member("name", piece.name)
                    writer.member("gpa", hex: piece.first.rawValue)
                    writer.member("size", piece.size)
                    writer.key("slot")
                    if let slot = piece.slot { writer.value(slot.id) } else { writer.null() }
                }
            }
        }
        writer.key("host")
        writer.array { writer in
            for slot in subject.slots.slots {
                writer.object { writer in
                    writer.member("slot", slot.id)
                    writer.member("name", slot.name)
                    writer.member("gpa", hex: slot.guestPhysicalAddress.rawValue)
                    writer.member("size", slot.size)
                    writer.member("hva", hex: subject.hasHostAddresses ? slot.userspaceAddress.rawValue : nil)
                    if let host {
                        let pages = host[slot.id] ?? HostPages()
                        writer.member("present", pages.present)
                        writer.member("swapped", pages.swapped)
                        writer.member("lowestHPA", hex: pages.lowest?.rawValue)
                        writer.member("highestHPA", hex: pages.highest?.rawValue)
                    }
                }
            }
        }
    }
    writer.newline()
    return writer.bytes
}
