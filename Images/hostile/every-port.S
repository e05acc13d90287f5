/* A write to every port once, but to those that end the guest. It ends by powering off. */
#include "every-port.inc"
