/* version.h - what this is, for --version, /healthz and the log. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define LONGWIRE_VERSION "0.1.0"

#endif
