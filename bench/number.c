#include "bench/number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *text;
    uint64_t factor;
};

static const struct unit count_units[] = {{"", 1},        {"k", 1000},      {"K", 1000},
                                          {"M", 1000000}, {"KiB", 1 << 10}, {"MiB", 1 << 20},
                                          {NULL, 0}};
static const struct unit time_units[] = {
    {"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {NULL, 0}};

static bool parse(const char *text, const struct unit *units, uint64_t min, uint64_t max,
                  uint64_t *ret)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    for (; units->text; units++) {
        if (strcmp(end, units->text) != 0)
            continue;
        if (errno || number > max / units->factor || number * units->factor < min)
            return false;
        *ret = number * units->factor;
        return true;
    }
    return false;
}

bool number_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    return parse(text, count_units, min, max, ret);
}

bool number_ms(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    return parse(text, time_units, min, max, ret);
}

bool number_real(const char *text, double min, double max, double *ret)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-' && text[0] != '.')
        return false;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number < min || number > max)
        return false;
    *ret = number;
    return true;
}
