// libvirt's C API (Debian: libvirt-dev) and its part for QEMU's driver. Only the executable vitrine-libvirt links it.
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
