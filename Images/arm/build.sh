# The ARM guest, for qemu-system-arm. Sourced by build-images.sh, which gives root, output, swiftc, clang and ld; adds what
# it made to `built`.

mkdir -p "$output/arm" "$output/objects/arm"
arm=$root/Images/arm
image=$output/arm/paging.elf
built="${built:-} arm/paging.elf"
newest=$(ls -t "$image" "$arm"/* 2>/dev/null | head -n 1)
if [ "$newest" != "$image" ]; then
    objects=$output/objects/arm
    "$swiftc" -target armv7-none-none-eabi -swift-version 6 -warnings-as-errors -enable-experimental-feature Embedded \
        -wmo -parse-as-library -O -no-allocations -module-name guest -import-objc-header "$arm/arm.h" \
        -Xfrontend -disable-stack-protector -Xcc -mfloat-abi=soft -Xcc -mno-unaligned-access \
        -c -o "$objects/guest.o" "$arm"/*.swift
    "$clang" --target=armv7-none-none-eabi -c -o "$objects/start.o" "$arm/start.S"
    "$ld" -static --build-id=none -z noexecstack --gc-sections -T "$arm/arm.ld" -o "$image" "$objects/start.o" "$objects/guest.o"
fi
