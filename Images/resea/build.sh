# The tasks of resea, and the bootfs that is linked into that layout's kernel. Sourced by build-images.sh before the kernel, which
# needs it; gives `bootfs`, an object file.

tasks=$output/objects/resea
bootfs=$tasks/bootfs.o
mkdir -p "$tasks"
resea=$root/Images/resea
programs=$root/Images/programs
if [ ! -f "$bootfs" ] || [ -n "$(find "$resea" "$programs" "$root/Images/include" -newer "$bootfs" | head -n 1)" ]; then
    for name in vm process; do
        source=$resea/$name.swift
        [ -f "$source" ] || source=$programs/$name.swift
        "$swiftc" -target "$target" -swift-version 6 -warnings-as-errors -enable-experimental-feature Embedded \
            -wmo -parse-as-library -O -no-allocations -module-name program -Xcc -fPIC -Xcc -mno-red-zone \
            -Xcc -mno-sse -Xcc -mno-mmx -Xcc -I"$root/Images/include" -import-objc-header "$programs/program.h" \
            -Xfrontend -disable-stack-protector -c -o "$tasks/$name.o" \
            "$source" "$programs/System.swift" "$programs/Line.swift"
        "$clang" --target="$target" -c -o "$tasks/runtime.o" "$programs/runtime.S"
        "$clang" --target="$target" -c -o "$tasks/start.o" "$resea/start.S"
        # What the vm server puts into a task's pages is the file's bytes: relocations are applied in the file.
        "$ld" -pie --no-dynamic-linker --gc-sections --build-id=none -z noexecstack -z max-page-size=4096 -z text \
            --apply-dynamic-relocs -T "$resea/task.ld" -o "$tasks/$name.elf" \
            "$tasks/$name.o" "$tasks/runtime.o" "$tasks/start.o"
    done
    "$clang" --target="$target" -c -o "$tasks/still.o" "$resea/still.S"
    "$ld" -pie --no-dynamic-linker --build-id=none -z noexecstack -z max-page-size=4096 -z text -T "$resea/task.ld" \
        -o "$tasks/still.elf" "$tasks/still.o"
    "$clang" --target="$target" -DBOOTFS_STILL="\"$tasks/still.elf\"" -DBOOTFS_VM="\"$tasks/vm.elf\"" -DBOOTFS_PROCESS="\"$tasks/process.elf\"" \
        -c -o "$bootfs" "$resea/bootfs.S"
fi
