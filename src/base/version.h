/* version.h - the version, as --version, /healthz and the log show it. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define LONGWIRE_VERSION "0.1.0"

#endif
