#!/bin/sh
# Compiles the BPF programs and writes them as Swift source: the object file in hexadecimal, so that the executables
# need no file beside them.
#   build.sh SOURCE OUTPUT.swift CLANG OBJCOPY
set -eu
source=$1 output=$2 clang=$3 objcopy=$4
object=${output%.swift}.o
# -g makes the BTF that CO-RE needs; the debug sections that come with it are dropped.
"$clang" --target=bpf -mcpu=v3 -O2 -g -Wall -Werror -Wno-unused-function -c -o "$object" "$source"
"$objcopy" --strip-debug "$object"
{
    echo '/// The object file with the BPF programs, in hexadecimal.'
    printf 'let kernelReaderObject: StaticString = "'
    od -An -v -tx1 "$object" | tr -d ' \n'
    echo '"'
} > "$output"
