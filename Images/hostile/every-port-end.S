/* A write to every port once, and last to those that end the guest: the panic port, the reset ports, the power ports. */
#define ENDING_TOO
#include "every-port.inc"
