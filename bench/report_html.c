#include "bench/report.h"

#include <stdlib.h>
#include <string.h>

/* bench/page.html, put into the program by the build. */
extern const char report_page[];

/* Where the page has the report. */
#define PLACE "REPORT_GOES_HERE"

bool report_html(const json_t *report, FILE *out)
{
    const char *place = strstr(report_page, PLACE);
    char *text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(12) | JSON_ENSURE_ASCII);
    if (!place || !text) {
        free(text);
        return false;
    }
    fwrite(report_page, 1, (size_t)(place - report_page), out);
    /* It stands in a <script>: nothing in it may look like the end of one. */
    for (const char *at = text; *at; at++) {
        if (*at == '<')
            fputs("\\u003c", out);
        else
            fputc(*at, out);
    }
    fputs(place + strlen(PLACE), out);
    free(text);
    return !ferror(out);
}
