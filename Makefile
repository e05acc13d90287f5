# make            builds everything, release
# make demo       boots the osv guest and shows its double mapping
# make test       builds, checks the style, runs every test
# make test-hardware  boots a stock kernel with real nested paging (under QEMU) and checks everything in there
# make fuzz       runs every reader of foreign bytes on made-up ones (libFuzzer), a fixed number each
# make soak       15 minutes of many guests that come and go and are looked at, then counts what is left (MINUTES=N)
# make faults     system calls that fail, kills at random moments, full disks: all of them (about half an hour)
# make bench      measures, each number beside its reference
# make install    PREFIX=/usr/local by default
# make deb        a Debian package in dist/
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
	util-linux gdb strace binutils libvirt-daemon-system libvirt-clients dropbear-bin openssh-client dpkg-dev zsh fish mandoc man-db

PACKAGE_PACKAGES := $(BUILD_PACKAGES) binutils dpkg-dev

# Needed by the hardware bench: an emulated machine with AMD-V, a stock kernel for it, and what its initramfs is made of.
HARDWARE_PACKAGES := $(BUILD_PACKAGES) qemu-system-x86 linux-image-amd64 busybox-static cpio kmod xz-utils gcc libc6-dev binutils gdb

.PHONY: all build demo test test-hardware lint format bench fuzz faults soak install uninstall deb clean build-packages \
	test-packages hardware-packages package-packages

all: build

build-packages:
	@Tools/install-packages $(BUILD_PACKAGES)

test-packages:
	@Tools/install-packages $(TEST_PACKAGES)

hardware-packages:
	@Tools/install-packages $(HARDWARE_PACKAGES)

package-packages:
	@Tools/install-packages $(PACKAGE_PACKAGES)

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

faults: test-packages build
	Tools/fault-sweep
	Tools/fault-sweep --short
	Tools/kill-sweep 200
	Tools/full-disk

# The floor that benchmarks compare with is plain C, without anything of ours.
bench: test-packages build
	$(CC) -O2 -Wall -Wextra -static -o .build/release/vitrine-bench-floor Tools/vitrine-bench-floor/*.c
	.build/release/vitrine-bench

IMAGES = .build/plugins/outputs/*/GuestImages/destination/BuildGuestImages

install: build
	Tools/package/install-files .build/release $(IMAGES) "$(DESTDIR)" "$(PREFIX)"

uninstall:
	cd "$(DESTDIR)$(PREFIX)" && rm -f bin/vitrine bin/vitrine-vmm bin/vitrine-qemu bin/vitrine-libvirt \
	  share/man/man1/vitrine.1.gz share/man/man1/vitrine-vmm.1.gz share/man/man1/vitrine-qemu.1.gz \
	  share/man/man1/vitrine-libvirt.1.gz share/bash-completion/completions/vitrine share/zsh/site-functions/_vitrine \
	  share/fish/vendor_completions.d/vitrine.fish
	rm -rf "$(DESTDIR)$(PREFIX)/share/vitrine" "$(DESTDIR)$(PREFIX)/share/doc/vitrine"

# What it is made of is in Tools/package.
deb: package-packages build
	@Tools/package/make-deb .build/release $(IMAGES) dist

clean:
	rm -rf .build
