/* A program for Linux that asks for what this kernel does not have. */
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    int wrong = 0;
    for (int round = 0; round < 3; round++) wrong |= syscall(435, 0, 0) == -1 ? errno : 255;
    wrong |= syscall(999) == -1 ? errno : 255;
    printf("linux-wrong: %d\n", wrong);
    return wrong;
}
