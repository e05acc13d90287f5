#!/bin/sh
# Builds every guest image into OUTPUT.
#   build-images.sh ROOT OUTPUT SWIFTC CLANG LD
set -eu
root=$1 output=$2 swiftc=$3 clang=$4 ld=$5
target=x86_64-unknown-none-elf
objects=$output/objects
mkdir -p "$objects"

cat > "$output/BuiltImages.swift" <<SWIFT
extension GuestImages {
    /// The images of this build, by name.
    public static let built: [String] = []
}
SWIFT
