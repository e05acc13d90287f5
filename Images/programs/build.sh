# The guest programs, static-PIE. Sourced by build-images.sh, which gives root, output, swiftc, clang and ld; adds what it
# made to `built`. A program is one Swift file; System.swift, Line.swift and runtime.S are part of each. One named linux-NAME is
# NAME once more with Linux's system calls and at a fixed address, as Linux's own programs are.

mkdir -p "$output/programs" "$output/objects/programs"
programs=$root/Images/programs
for name in hello allocator fault touch-ring3 process offsets linux-process; do
    image=$output/programs/$name.elf
    objects=$output/objects/programs
    built="${built:-} programs/$name.elf"
    source=${name#linux-} system=System start=runtime link='-pie --no-dynamic-linker -z text'
    case $name in
        linux-*) system=LinuxSystem start=linux-runtime link='-static --image-base=0x400000' ;;
    esac
    newest=$(ls -t "$image" "$programs/$source.swift" "$programs/$system.swift" "$programs/Line.swift" "$programs/runtime.S" \
        "$programs/$start.S" "$programs/program.h" "$root/Images/include/vitrine.h" "$programs/build.sh" 2>/dev/null | head -n 1)
    [ "$newest" != "$image" ] || continue
    # Ring 0 is emulated on some hosts, without SSE; ring 3 runs on the processor.
    case $name in
        *-ring3) registers= ;;
        *) registers='-Xcc -mno-sse -Xcc -mno-mmx' ;;
    esac
    # shellcheck disable=SC2086
    "$swiftc" -target "$target" -swift-version 6 -warnings-as-errors -enable-experimental-feature Embedded \
        -wmo -parse-as-library -O -no-allocations -module-name program -Xcc -fPIC -Xcc -mno-red-zone $registers \
        -Xcc -I"$root/Images/include" -import-objc-header "$programs/program.h" -Xfrontend -disable-stack-protector \
        -c -o "$objects/$name.o" "$programs/$source.swift" "$programs/$system.swift" "$programs/Line.swift"
    linked=
    for file in runtime $start; do
        "$clang" --target="$target" -c -o "$objects/$file.o" "$programs/$file.S"
        case $linked in *"$file.o"*) ;; *) linked="$linked $objects/$file.o" ;; esac
    done
    # shellcheck disable=SC2086
    "$ld" $link --gc-sections --build-id=none -z noexecstack -z max-page-size=4096 \
        -e _start -o "$image" "$objects/$name.o" $linked
done
