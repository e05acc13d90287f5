# make            builds everything, release
# make demo       boots the osv guest and shows its double mapping
# make test       builds, checks the style, runs every test
# make test-hardware  boots a stock kernel with real nested paging (under QEMU) and checks everything in there
# make fuzz       runs every reader of foreign bytes on made-up ones (libFuzzer), a fixed number each
# make soak       15 minutes of many guests that come and go and are looked at, then counts what is left (MINUTES=N)
# make bench      measures, each number beside its reference
# make install    PREFIX=/usr/local by default
# Each installs the Debian packages it needs, if they are missing.

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
SWIFTFLAGS ?=

# Needed to build: the JSON parser, what loads BPF programs, what makes filters of system calls, libvirt's headers (for vitrine-libvirt alone). Needed to test: QEMU and a
# stock kernel as oracles, gcc for guest programs, gdb and readelf for cores,
# libvirt to manage vitrine-qemu.
# chromium is not among them (it is 300 MB): where it is installed, the page of --format html is tried in it, else that is skipped.
BUILD_PACKAGES := libjansson-dev libbpf-dev libelf-dev zlib1g-dev libseccomp-dev libvirt-dev pkg-config
TEST_PACKAGES := $(BUILD_PACKAGES) qemu-system-x86 qemu-system-arm linux-image-amd64 busybox-static cpio gcc libc6-dev python3 \
	util-linux gdb strace binutils libvirt-daemon-system libvirt-clients

# Needed by the hardware bench: an emulated machine with AMD-V, a stock kernel for it, and what its initramfs is made of.
HARDWARE_PACKAGES := $(BUILD_PACKAGES) qemu-system-x86 linux-image-amd64 busybox-static cpio kmod xz-utils gcc libc6-dev binutils

.PHONY: all build demo test test-hardware lint format bench fuzz soak install uninstall clean build-packages test-packages \
	hardware-packages

all: build

build-packages:
	@Tools/install-packages $(BUILD_PACKAGES)

test-packages:
	@Tools/install-packages $(TEST_PACKAGES)

hardware-packages:
	@Tools/install-packages $(HARDWARE_PACKAGES)

build: build-packages
	$(SWIFT) build -c release $(SWIFTFLAGS)

demo: build
	@Tools/demo .build/release/vitrine

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Hypervisor GuestKernel Images Tools Tests

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Hypervisor GuestKernel Images Tools Tests

# The end-to-end tests drive the release executables, as a user does.
test: test-packages lint
	$(SWIFT) build -c release $(SWIFTFLAGS)
	$(SWIFT) build --build-tests $(SWIFTFLAGS)
	@SWIFT="$(SWIFT)" Tools/run-tests $(SWIFTFLAGS)

test-hardware: hardware-packages build
	@Tools/hardware-bench/test-hardware .build/release .build/plugins/outputs/*/GuestImages/destination/BuildGuestImages

fuzz: build-packages
	@Tools/fuzz

MINUTES ?= 15

soak: test-packages build
	@Tools/soak --minutes $(MINUTES) .build/release

# The floor that benchmarks compare with is plain C, without anything of ours.
bench: test-packages build
	$(CC) -O2 -Wall -Wextra -static -o .build/release/vitrine-bench-floor Tools/vitrine-bench-floor/*.c
	.build/release/vitrine-bench

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/vitrine
	install -m 755 .build/release/vitrine .build/release/vitrine-vmm .build/release/vitrine-qemu \
	  .build/release/vitrine-libvirt $(DESTDIR)$(PREFIX)/bin
	cd .build/plugins/outputs/*/GuestImages/destination/BuildGuestImages && \
	  find . -name '*.elf' -not -path './objects/*' -exec cp --parents -t $(abspath $(DESTDIR)$(PREFIX)/share/vitrine) {} +

uninstall:
	rm -f $(PREFIX)/bin/vitrine $(PREFIX)/bin/vitrine-vmm $(PREFIX)/bin/vitrine-qemu $(PREFIX)/bin/vitrine-libvirt
	rm -rf $(PREFIX)/share/vitrine

clean:
	rm -rf .build
