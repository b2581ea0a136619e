/* Arduino looks for a library's header in src/ only. */
#include "../include/vgrad.h"
