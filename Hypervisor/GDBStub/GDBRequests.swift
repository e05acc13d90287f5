// Registers, memory and breakpoints.

extension GDBSession {
    // MARK: Registers

    func registers() {
        do throws(DebuggeeError) {
            send(hexDigits(try debuggee.registers(of: current).flatMap { $0 }))
        } catch {
            fail(error)
        }
    }

    func register(_ text: inout PacketText) {
        guard let index = text.number(), index < UInt64(debuggee.registerNames.count) else { return send("E01") }
        do throws(DebuggeeError) {
            send(hexDigits(try debuggee.registers(of: current)[Int(index)]))
        } catch {
            fail(error)
        }
    }

    func setRegisters(_ digits: ArraySlice<UInt8>) {
        guard let bytes = hexBytes(digits), bytes.count == debuggee.registerNames.reduce(0, { $0 + $1.size }) else {
            return send("E01")
        }
        do throws(DebuggeeError) {
            let before = try debuggee.registers(of: current)
            var start = 0
            for (index, register) in debuggee.registerNames.enumerated() {
                let value = Array(bytes[start..<start + register.size])
                start += register.size
                // Those that cannot be written are sent along as they were.
                if value != before[index] { try debuggee.setRegister(index, value, vcpu: current) }
            }
            send("OK")
        } catch {
            fail(error)
        }
    }

    func setRegister(_ text: inout PacketText) {
        guard let index = text.number(), index < UInt64(debuggee.registerNames.count), text.take("="),
            let bytes = hexBytes(text.rest), bytes.count == debuggee.registerNames[Int(index)].size
        else { return send("E01") }
        do throws(DebuggeeError) {
            try debuggee.setRegister(Int(index), bytes, vcpu: current)
            send("OK")
        } catch {
            fail(error)
        }
    }

    // MARK: Memory

    func readMemory(_ text: inout PacketText) {
        guard let address = text.number(), text.take(","), let length = text.number(), text.isEmpty else {
            return send("E01")
        }
        let count = Int(min(length, UInt64(GDBPacketReader.limit / 2 - 8)))
        guard count > 0 else { return send("") }
        do throws(DebuggeeError) {
            send(
                hexDigits(
                    isPhysical
                        ? try debuggee.readPhysical(address, count: count)
                        : try debuggee.read(address, count: count, vcpu: current)))
        } catch {
            // EFAULT: GDB takes a text for data here.
            send("E0e")
        }
    }

    func writeMemory(_ text: inout PacketText, isBinary: Bool) {
        guard let address = text.number(), text.take(","), let length = text.number(), text.take(":"),
            let bytes = isBinary ? Array(text.rest) : hexBytes(text.rest), UInt64(bytes.count) == length
        else { return send("E01") }
        // GDB asks with no bytes whether binary writing works.
        guard !bytes.isEmpty else { return send("OK") }
        do throws(DebuggeeError) {
            if isPhysical {
                try debuggee.writePhysical(bytes, at: address)
            } else {
                try debuggee.write(bytes, at: address, vcpu: current)
            }
            send("OK")
        } catch {
            fail(error)
        }
    }

    // MARK: Breakpoints

    /// Z and z: TYPE,ADDRESS,KIND.
    func change(_ text: inout PacketText, inserts: Bool) {
        guard let type = text.number(), let kind = GDBBreakpoint.Kind(rawValue: Int(clamping: type)) else {
            return send("")
        }
        guard text.take(","), let address = text.number(), text.take(","), let length = text.number(), length <= 8
        else {
            return send("E01")
        }
        let breakpoint = GDBBreakpoint(kind: kind, address: address, length: Int(length))
        var wanted = breakpoints.filter { $0 != breakpoint }
        if inserts { wanted.append(breakpoint) }
        do throws(DebuggeeError) {
            if wanted != breakpoints { try debuggee.setBreakpoints(wanted, vcpu: current) }
            breakpoints = wanted
            send("OK")
        } catch {
            // What was there before is still wanted; it was taken away with the rest.
            try? debuggee.setBreakpoints(breakpoints, vcpu: current)
            complain(error.description)
            fail(error)
        }
    }
}
