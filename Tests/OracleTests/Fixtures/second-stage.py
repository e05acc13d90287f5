#!/usr/bin/env python3
"""Makes second-stage tables and, as they are made, the list of what they map. Nothing here reads an entry back.

EPT: Intel SDM volume 3, 29.3.2 "EPT Translation Mechanism" (tables 29-1 to 29-7) and 29.3.3.1 "EPT Misconfigurations".
NPT: AMD APM volume 2, 15.25; the entries are those of 5.3 and 5.4 with U/S required.

    ./second-stage.py           writes ept-4.txt, ept-5.txt and npt.txt beside this file

A line of the result is one of
    root ADDRESS                where the walk begins
    page ADDRESS                words of this table follow
    INDEX VALUE                 a word of it that is not 0
    leaf GPA HPA SIZE PERMISSIONS TYPE IPAT     PERMISSIONS: r, w, x (supervisor execution), u (user execution), a, d
    bad ADDRESS                 the entry there is a misconfiguration (EPT) or has reserved bits (NPT)
"""
import os
import random

MAXPHYADDR = 40


class Tables:
    def __init__(self, seed, levels):
        self.random = random.Random(seed)
        self.levels = levels
        self.pages = {}
        # Anywhere in the first 4 GiB, in no order, never 0.
        self.free = self.random.sample(range(1, 1 << 20), 4000)
        self.root = self.table()
        self.leaves, self.bad = [], []
        self.grants = {}  # of the entry at an address: what it lets through

    def table(self):
        address = self.free.pop() << 12
        self.pages[address] = {}
        return address

    def descend(self, gpa, level, way):
        """The table of `level` on the way to an address, tables made as needed, and what all entries on the way grant."""
        table, granted = self.root, set("rwxu")
        for current in range(self.levels, level, -1):
            index = gpa >> (12 + 9 * (current - 1)) & 511
            at = table + 8 * index
            if index not in self.pages[table]:
                grants = way()
                self.grants[at] = (self.table(), grants)
                self.pages[table][index] = self.grants[at][0] | self.table_bits(grants)
            if at not in self.grants:
                return None, None  # a page is there
            table, grants = self.grants[at]
            granted &= grants
        return table, granted

    def map(self, gpa, hpa, level, way, **leaf):
        table, granted = self.descend(gpa, level, way)
        index = gpa >> (12 + 9 * (level - 1)) & 511
        if table is None or index in self.pages[table]:
            return
        wrong = leaf.pop("wrong", 0)
        value, own, kind, ipat, marks = self.leaf_bits(level, **leaf)
        self.pages[table][index] = hpa | value | wrong
        if wrong or leaf.get("misconfigured"):
            self.bad.append(table + 8 * index)
        else:
            letters = "".join(letter for letter in "rwxu" if letter in granted & own)
            self.leaves.append((gpa, hpa, 1 << (12 + 9 * (level - 1)), (letters + marks) or "-", kind, ipat))

    def write(self, name):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "w") as file:
            print(f"root {self.root:x}", file=file)
            for address in sorted(self.pages):
                print(f"page {address:x}", file=file)
                for index in sorted(self.pages[address]):
                    print(f"{index} {self.pages[address][index]:x}", file=file)
            for gpa, hpa, size, letters, kind, ipat in sorted(self.leaves):
                print(f"leaf {gpa:x} {hpa:x} {size:x} {letters} {kind} {ipat}", file=file)
            for address in sorted(self.bad):
                print(f"bad {address:x}", file=file)


class EPT(Tables):
    def __init__(self, seed, levels, execute_only, mode_based, gibibyte):
        self.execute_only, self.mode_based, self.gibibyte = execute_only, mode_based, gibibyte
        super().__init__(seed, levels)

    # Bits 2:0 read, write, (supervisor) execute; bit 10 user execute where the control is on.
    def permissions(self, letters):
        bits = {"r": 1, "w": 2, "x": 4, "u": 0x400 if self.mode_based else 0}
        return sum(bits[letter] for letter in letters)

    def choose(self):
        """Permissions that are no misconfiguration, and not nothing."""
        while True:
            letters = {letter for letter in "rwxu" if self.random.random() < 0.75}
            if not self.mode_based:
                letters = letters - {"u"} | ({"u"} if "x" in letters else set())
            if "r" not in letters and ("w" in letters or letters and not self.execute_only):
                continue
            if self.permissions(letters):
                return letters

    def table_bits(self, letters):
        # Bit 8: accessed; bits 62:52 and 11 (and 10 without the control) are ignored.
        return self.permissions(letters) | self.random.choice([0, 0x100]) | self.random.choice([0, 1 << 11, 1 << 55])

    def leaf_bits(self, level, letters=None, kind=None, misconfigured=None):
        letters = self.choose() if letters is None else letters
        kind = self.random.choice([0, 1, 4, 5, 6]) if kind is None else kind
        ipat = self.random.randrange(2)
        a, d = self.random.randrange(2), self.random.randrange(2)
        value = self.permissions(letters) | kind << 3 | ipat << 6 | a << 8 | d << 9 | (0x80 if level > 1 else 0)
        value |= self.random.choice([0, 1 << 63])  # suppress #VE
        return value, set(letters), kind, ipat, "a" * a + "d" * d

    def fill(self):
        pick = self.random
        limit = 12 + 9 * self.levels
        sizes = [1, 2, 3] if self.gibibyte else [1, 2]
        for _ in range(700):
            level = pick.choice(sizes + [1, 1])
            shift = 12 + 9 * (level - 1)
            region = pick.choice([0, 3 << 30, 0xFE << 32, (1 << limit) - (1 << 32), pick.getrandbits(18) << 30])
            gpa = (region + (pick.getrandbits(9 if level < 3 else 3) << shift)) % (1 << limit)
            hpa = pick.getrandbits(MAXPHYADDR - shift) << shift
            self.map(gpa, hpa, level, self.choose)
        # Runs: pages that follow each other.
        for index in range(300):
            self.map(0x7000_0000 + (index << 12), 0x12_3400_0000 + (index << 12), 1, lambda: set("rwxu"),
                     letters=set("rwxu"), kind=6)
        # Misconfigurations, each in a place of its own (29.3.3.1).
        base = 0x55 << 30
        def bad(**leaf):
            nonlocal base
            level = leaf.pop("level", 1)
            self.map(base, leaf.pop("hpa", 0x4000_0000), level, lambda: set("rwxu"), **leaf)
            base += 1 << 30
        bad(letters=set("w"), kind=6, misconfigured=True)
        bad(letters=set("wx"), kind=6, misconfigured=True)
        if not self.execute_only:
            bad(letters=set("x"), kind=6, misconfigured=True)
        for kind in (2, 3, 7):
            bad(letters=set("r"), kind=kind, misconfigured=True)
        bad(letters=set("r"), kind=6, wrong=1 << MAXPHYADDR)
        bad(letters=set("r"), kind=6, wrong=1 << 51)
        bad(letters=set("rw"), kind=6, level=2, wrong=1 << 12)
        bad(letters=set("rw"), kind=6, level=2, wrong=1 << 20)
        if self.gibibyte:
            bad(letters=set("rw"), kind=6, level=3, wrong=1 << 29)
        # Entries that refer to tables: bits 6:3 must be 0, so must the address bits that do not exist.
        for wrong in (1 << 3, 1 << 6, 1 << MAXPHYADDR):
            table, _ = self.descend(base, 2, lambda: set("rwxu"))
            index = base >> 21 & 511
            self.pages[table][index] = self.table() | 7 | wrong
            self.bad.append(table + 8 * index)
            base += 1 << 30


class NPT(Tables):
    # Permissions of the entry itself: r is U/S (bit 2), w is R/W (bit 1), x the absence of NX (bit 63).
    def choose(self):
        letters = {letter for letter in "rwx" if self.random.random() < 0.8}
        return letters | ({"u"} if "x" in letters else set())

    def bits(self, letters):
        return 1 | ("w" in letters) << 1 | ("r" in letters) << 2 | ("x" not in letters) << 63

    def table_bits(self, letters):
        return self.bits(letters) | self.random.choice([0, 0x20]) | self.random.choice([0, 1 << 10])

    def leaf_bits(self, level, letters=None):
        letters = self.choose() if letters is None else letters
        a, d = self.random.randrange(2), self.random.randrange(2)
        value = self.bits(letters) | a << 5 | d << 6 | (0x80 if level > 1 else 0) | self.random.choice([0, 0x100])
        return value, set(letters), 0, 0, "a" * a + "d" * d

    def map(self, gpa, hpa, level, way, **leaf):
        super().map(gpa, hpa, level, way, **leaf)
        # Every access counts as one of user mode: without U/S there is none at all (APM 2, 15.25.5).
        if self.leaves and self.leaves[-1][0] == gpa and "r" not in self.leaves[-1][3]:
            gpa, hpa, size, letters, kind, ipat = self.leaves[-1]
            self.leaves[-1] = (gpa, hpa, size, "".join(c for c in letters if c in "ad") or "-", kind, ipat)

    def fill(self):
        pick = self.random
        for _ in range(700):
            level = pick.choice([1, 1, 1, 2, 3])
            shift = 12 + 9 * (level - 1)
            region = pick.choice([0, 3 << 30, 0xFE << 32, (1 << 48) - (1 << 32), pick.getrandbits(18) << 30])
            gpa = (region + (pick.getrandbits(9 if level < 3 else 3) << shift)) % (1 << 48)
            self.map(gpa, pick.getrandbits(MAXPHYADDR - shift) << shift, level, self.choose)
        base = 0x55 << 30
        for level, wrong in [(1, 1 << MAXPHYADDR), (1, 1 << 51), (2, 1 << 13), (2, 1 << 20), (3, 1 << 29)]:
            self.map(base, 0x4000_0000, level, lambda: set("rwxu"), letters=set("rw"), wrong=wrong)
            base += 1 << 30


for tables, name in [
    (EPT(1, 4, execute_only=True, mode_based=False, gibibyte=True), "ept-4.txt"),
    (EPT(2, 5, execute_only=False, mode_based=True, gibibyte=False), "ept-5.txt"),
    (NPT(3, 4), "npt.txt"),
]:
    tables.fill()
    tables.write(name)
