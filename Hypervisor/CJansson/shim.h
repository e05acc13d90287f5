// Jansson (Debian: libjansson-dev) parses every JSON text that comes from outside.
#include <jansson.h>
