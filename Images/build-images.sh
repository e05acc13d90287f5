#!/bin/sh
# Builds every guest image into OUTPUT.
#   build-images.sh ROOT OUTPUT SWIFTC CLANG LD
set -eu
root=$1 output=$2 swiftc=$3 clang=$4 ld=$5
target=x86_64-unknown-none-elf
mkdir -p "$output/objects"

# Each folder's script builds what changed and appends the names of its images, relative to OUTPUT, to `built`.
built=
for script in "$root"/Images/resea/build.sh "$root"/GuestKernel/build.sh "$root"/Images/programs/build.sh "$root"/Images/hostile/build.sh \
    "$root"/Images/arm/build.sh; do
    # shellcheck disable=SC1090
    [ ! -f "$script" ] || . "$script"
done

{
    echo 'extension GuestImages {'
    echo '    /// The images of this build, by name.'
    echo '    public static let built: [String] = ['
    for image in $built; do echo "        \"$image\","; done
    echo '    ]'
    echo '}'
} > "$output/BuiltImages.swift.new"
cmp -s "$output/BuiltImages.swift.new" "$output/BuiltImages.swift" || cp "$output/BuiltImages.swift.new" "$output/BuiltImages.swift"
rm "$output/BuiltImages.swift.new"
