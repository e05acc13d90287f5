# The guest kernel: Embedded Swift, a little assembly, a few lines of C. Sourced by build-images.sh, which gives root,
# output, target, swiftc, clang and ld; adds what it made to `built`.

built="${built:-} vitrine-osv.elf"
image=$output/vitrine-osv.elf
objects=$output/objects/kernel
mkdir -p "$objects"
shared="$root/Hypervisor/Addresses/Address.swift $root/Hypervisor/Layouts/OSv.swift $root/Hypervisor/Layouts/Contract.swift"
# shellcheck disable=SC2086
if [ ! -f "$image" ] || [ -n "$(find "$root/GuestKernel" "$root/Images/include" $shared -newer "$image" | head -n 1)" ]; then
    # No SSE and no red zone: ring 0 is emulated on some hosts, and the kernel's own frames must survive a trap.
    plain="-mno-sse -mno-mmx -mno-red-zone -ffreestanding -fno-stack-protector -fPIC -I$root/GuestKernel/Arch/include"
    swift=
    for flag in $plain; do swift="$swift -Xcc $flag"; done
    "$swiftc" -target "$target" -swift-version 6 -warnings-as-errors -enable-experimental-feature Embedded \
        -wmo -parse-as-library -O -g -module-name VitrineKernel -Xfrontend -function-sections \
        -Xfrontend -disable-stack-protector $swift -import-objc-header "$root/GuestKernel/Processes/include/programs.h" \
        $(find "$root/GuestKernel" -name '*.swift' | LC_ALL=C sort) $shared -c -o "$objects/kernel.o"
    parts=$objects/kernel.o
    for source in $(find "$root/GuestKernel" -name '*.S' -o -name '*.c' | LC_ALL=C sort); do
        object=$objects/$(basename "$source").o
        "$clang" --target="$target" $plain -O2 -g -Wall -Werror -c "$source" -o "$object"
        parts="$parts $object"
    done
    "$ld" -static --gc-sections -z max-page-size=4096 -z noexecstack --build-id=none \
        -T "$root/GuestKernel/Boot/kernel.ld" $parts -o "$image.new"
    mv "$image.new" "$image"
fi
