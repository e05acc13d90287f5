# The guest kernel: Embedded Swift, a little assembly, a few lines of C; compiled once, linked once a layout. Sourced by
# build-images.sh, which gives root, output, target, swiftc, clang and ld; adds what it made to `built`.

objects=$output/objects/kernel
mkdir -p "$objects"
# Name, number (KernelPlan.Name), first physical address, limit, virtual less physical: the numbers of KernelPlan, which the
# kernel compares with its own when it starts.
layouts="osv,0,0x200000,0x1800000,0
osc,1,0x200000,0x1800000,0xffffffffc0000000
osc-initial,2,0x200000,0x1800000,0
linux,3,0x200000,0x1800000,0xffffffff80000000
panda,4,0x200000,0x1800000,0xffffc00000000000
resea,5,0x100000,0x4000000,0xffff800000000000
courseos,6,0x8000,0xa0000,0x80000000"
shared=$root/Hypervisor/Addresses/Address.swift
names="Contract KernelPlan OSv OSC Linux Panda Resea CourseOS"
for name in $names; do shared="$shared $root/Hypervisor/Layouts/$name.swift"; done
stamp=$objects/compiled
# shellcheck disable=SC2086
if [ ! -f "$stamp" ] || [ -n "$(find "$root/GuestKernel" "$root/Images/include" $shared -newer "$stamp" | head -n 1)" ]; then
    # No SSE and no red zone: ring 0 is emulated on some hosts, and the kernel's own frames must survive a trap.
    plain="-mno-sse -mno-mmx -mno-red-zone -ffreestanding -fno-stack-protector -fPIC -I$root/GuestKernel/Arch/include"
    swift=
    for flag in $plain; do swift="$swift -Xcc $flag"; done
    "$swiftc" -target "$target" -swift-version 6 -warnings-as-errors -enable-experimental-feature Embedded \
        -wmo -parse-as-library -O -g -module-name VitrineKernel -Xfrontend -function-sections \
        -Xfrontend -disable-stack-protector -Xfrontend -no-clang-module-breadcrumbs $swift -import-objc-header "$root/GuestKernel/Processes/include/programs.h" \
        $(find "$root/GuestKernel" -name '*.swift' | LC_ALL=C sort) $shared -c -o "$objects/kernel.o"
    for source in $(find "$root/GuestKernel" -name '*.S' -o -name '*.c' | LC_ALL=C sort); do
        "$clang" --target="$target" $plain -O2 -g -Wall -Werror -c "$source" -o "$objects/$(basename "$source").o"
    done
    touch "$stamp"
fi
for row in $layouts; do
    IFS=, read -r name number base limit offset <<EOT
$row
EOT
    image=$output/vitrine-$name.elf
    built="${built:-} vitrine-$name.elf"
    # Its tasks are a part of it.
    files=
    [ "$name" != resea ] || files=$bootfs
    if [ ! "$image" -nt "$stamp" ] || { [ -n "$files" ] && [ "$files" -nt "$image" ]; }; then
        # shellcheck disable=SC2086
        "$ld" -static --gc-sections -z max-page-size=4096 -z noexecstack --build-id=none \
            --defsym=vitrine_layout="$number" --defsym=vitrine_base="$base" --defsym=vitrine_limit="$limit" \
            --defsym=vitrine_offset="$offset" -T "$root/GuestKernel/Boot/kernel.ld" "$objects"/*.o $files -o "$image.new"
        mv "$image.new" "$image"
    fi
done
