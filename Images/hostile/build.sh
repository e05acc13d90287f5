# The guests in assembly, one file each: the hostile ones, those that benchmarks time, and those whose tables are compared
# with what QEMU says of them. Sourced by build-images.sh, which
# gives root, output, clang and ld; adds what it made to `built`.

for folder in hostile bench paging; do
    mkdir -p "$output/$folder" "$output/objects/$folder"
    for source in "$root/Images/$folder"/*.S; do
        name=$(basename "$source" .S)
        object=$output/objects/$folder/$name.o
        image=$output/$folder/$name.elf
        built="${built:-} $folder/$name.elf"
        newest=$(ls -t "$image" "$source" "$root"/Images/hostile/*.inc "$root"/Images/paging/*.inc "$root"/Images/hostile/hostile.ld \
            "$root"/Images/hostile/build.sh 2>/dev/null | head -n 1)
        [ "$newest" != "$image" ] || continue
        "$clang" --target="$target" -c -I "$root/Images/hostile" -I "$root/Images/paging" -o "$object" "$source"
        "$ld" -static --build-id=none -z noexecstack -z max-page-size=4096 -e entry64 \
            -T "$root/Images/hostile/hostile.ld" -o "$image" "$object"
    done
done
