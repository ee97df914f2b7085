/*        title
 *        legend, in rows of as many entries as fit
 *   +-- chart 0 --+  +-- chart 1 --+     COLUMNS charts in a row; a chart is its frame, which
 *   |             |  |             |     series are drawn in, and margins around it for the
 *   +-------------+  +-------------+     title and the labels of both axes
 *   +-- chart 2 --+  ...
 *        note
 */
#include "bench/ring/plot.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define COLUMNS 2
#define CHART_WIDTH 480
#define WIDTH (COLUMNS * CHART_WIDTH)
#define CHART_HEIGHT 300
#define MARGIN_LEFT 58
#define MARGIN_RIGHT 22
#define MARGIN_TOP 36
#define MARGIN_BOTTOM 44
#define INSET 10 /* from the frame to the first and last tick, room for a marker */
#define LANE 2.5 /* between lines that would hide each other */
#define TITLE_HEIGHT 44
#define LEGEND_LEFT 24
#define LEGEND_ENTRY 228
#define LEGEND_ROW 22
#define NOTE_HEIGHT 34
#define TICKS_MAX 32

struct axis {
    bool log;
    double low, high;       /* of the values */
    double from, to;        /* where they lie in the picture */
    double tick[TICKS_MAX]; /* ascending, from low to high */
    size_t nticks;
};

/* ---- axes with round ticks ---- */

static double position(const struct axis *a, double v)
{
    double at =
        a->log ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);
    return a->from + at * (a->to - a->from);
}

/* 1, 2, 5, 10, 20, ...: step k from 1, also downwards. */
static double round_step(int k)
{
    static const double mantissa[] = {1, 2, 5};
    int decade = (int)floor(k / 3.0);
    return mantissa[k - 3 * decade] * pow(10, decade);
}

/* The largest k with round_step(k) <= v. */
static int round_below(double v)
{
    int k = 3 * (int)floor(log10(v)) - 1;
    while (round_step(k + 1) <= v * (1 + 1e-9))
        k++;
    return k;
}

/* From round value to round value; a tick at each, or at powers of ten if that would be crowded. */
static void log_axis(struct axis *a, double low, double high, int crowded)
{
    int first = round_below(low), last = round_below(high);
    if (round_step(last) < high * (1 - 1e-9))
        last++;
    if (first == last)
        first--, last++;
    a->log = true;
    a->low = round_step(first);
    a->high = round_step(last);
    bool decades = last - first + 1 > crowded;
    a->nticks = 0;
    for (int k = first; k <= last && a->nticks < TICKS_MAX; k++)
        if (!decades || k % 3 == 0)
            a->tick[a->nticks++] = round_step(k);
}

static void linear_axis(struct axis *a, double low, double high)
{
    if (high <= low)
        high = low + (low != 0 ? fabs(low) * 0.1 : 1);
    double step = round_step(round_below((high - low) / 6) + 1);
    long first = lround(floor(low / step + 1e-9)), last = lround(ceil(high / step - 1e-9));
    a->log = false;
    a->low = (double)first * step;
    a->high = (double)last * step;
    a->nticks = 0;
    for (long k = first; k <= last && a->nticks < TICKS_MAX; k++)
        a->tick[a->nticks++] = (double)k * step;
}

static const double *values_of(const struct plot *p, size_t chart, size_t series)
{
    return p->y + (chart * p->nseries + series) * p->nx;
}

static void y_axis(struct axis *a, const struct plot *p, size_t chart)
{
    const struct plot_chart *c = &p->chart[chart];
    double low = c->base, high = c->base;
    for (size_t i = 0; i < p->nseries * p->nx; i++) {
        double v = values_of(p, chart, 0)[i];
        if (isnan(v))
            continue;
        assert(!c->log_y || v > 0);
        low = fmin(low, v); /* takes the other one if one is NAN */
        high = fmax(high, v);
    }
    if (isnan(low))
        low = high = 1; /* an empty chart */
    if (c->log_y)
        log_axis(a, low, high, 8);
    else
        linear_axis(a, low, high);
}

/* ---- pieces of the picture ---- */

static const char head[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\""
    " role=\"img\">\n<title>%s</title>\n";

static const char style[] =
    "<style>\n"
    "text{font:12px system-ui,-apple-system,\"Segoe UI\",\"DejaVu Sans\",sans-serif;fill:#333}\n"
    ".title{font-size:17px;font-weight:600;fill:#111}.chart{font-size:13px;font-weight:600}\n"
    ".mid{text-anchor:middle}.end{text-anchor:end}.small{font-size:11px;fill:#555}\n"
    ".page{fill:#fff}.frame{fill:none;stroke:#999}.grid{stroke:#e4e4e4}\n"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}.mark{stroke-width:1.6}\n"
    ".d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:9 3 2 3}\n"
    ".c0{stroke:#0062a8}.c1{stroke:#c04f00}.c2{stroke:#00805a}.c3{stroke:#a8509e}.c4{stroke:#"
    "6b6b6b}"
    ".c5{stroke:#8a6d00}\n"
    ".mark{fill:#fff}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#ccc}.title{fill:#eee}.small{fill:#aaa}.page{fill:#14171c}.frame{stroke:#666}"
    ".grid{stroke:#2b3038}.mark{fill:#14171c}\n"
    ".c0{stroke:#58a9ee}.c1{stroke:#f59a4a}.c2{stroke:#3fc495}.c3{stroke:#e08fd6}.c4{stroke:#"
    "a8a8a8}"
    ".c5{stroke:#d9bb4a}\n"
    "}\n</style>\n";

/* A marker's outline around 0, 0; the order is that of colours. Larger ones first, as a later
 * series is drawn over an earlier one in the same place. */
static const char *const markers[PLOT_COLOURS] = {
    "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0z",
    "M-4 -4h8v8h-8z",
    "M0 -5l4.5 8h-9z",
    "M0 -4.5l4 4.5l-4 4.5l-4 -4.5z",
    "M-3.5 -3.5l7 7M-3.5 3.5l7 -7",
    "M0 -4v8M-4 0h8",
};

static void put_mark(FILE *to, const struct plot_series *s, double x, double y)
{
    assert(s->colour < PLOT_COLOURS && s->dash < PLOT_DASHES);
    fprintf(to, "<path class=\"mark c%u\" transform=\"translate(%.1f %.1f)\" d=\"%s\">", s->colour,
            x, y, markers[s->colour]);
}

static void put_legend(FILE *to, const struct plot *p, size_t a_row)
{
    for (size_t i = 0; i < p->nseries; i++) {
        size_t row = i / a_row, column = i % a_row;
        double x = LEGEND_LEFT + (double)column * LEGEND_ENTRY;
        double y = TITLE_HEIGHT + (double)row * LEGEND_ROW + 6;
        const struct plot_series *s = &p->series[i];
        fprintf(to, "<path class=\"line c%u d%u\" d=\"M%.1f %.1fh34\"/>", s->colour, s->dash, x, y);
        put_mark(to, s, x + 17, y);
        fprintf(to, "</path><text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 41, y + 4, s->label);
    }
}

static void put_frame(FILE *to, const struct axis *x, const struct axis *y)
{
    double left = x->from - INSET, right = x->to + INSET;
    double bottom = y->from + INSET, top = y->to - INSET;
    for (size_t i = 0; i < y->nticks; i++) {
        double at = position(y, y->tick[i]);
        fprintf(to, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", left, at, right);
        fprintf(to, "<text class=\"small end\" x=\"%.1f\" y=\"%.1f\">%.12g</text>\n", left - 6,
                at + 4, y->tick[i]);
    }
    for (size_t i = 0; i < x->nticks; i++) {
        double at = position(x, x->tick[i]);
        fprintf(to, "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>", at, top, bottom);
        fprintf(to, "<text class=\"small mid\" x=\"%.1f\" y=\"%.1f\">%.12g</text>\n", at,
                bottom + 16, x->tick[i]);
    }
    fprintf(to, "<path class=\"frame\" d=\"M%.1f %.1fH%.1fV%.1fH%.1fz\"/>\n", left, top, right,
            bottom, left);
}

static bool hides(const double *v, const double *w, size_t n, const struct axis *y)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (isnan(v[i]) != isnan(w[i]))
            return false;
        if (isnan(v[i]))
            continue;
        if (fabs(position(y, v[i]) - position(y, w[i])) > 1)
            return false;
        any = true;
    }
    return any;
}

/* How far up a series is put so that it runs beside the earlier ones in its place. */
static double lane_of(const struct plot *p, size_t chart, size_t series, const struct axis *y)
{
    size_t lane = 0;
    for (size_t i = 0; i < series; i++)
        lane += hides(values_of(p, chart, i), values_of(p, chart, series), p->nx, y);
    return (double)lane * LANE;
}

/* A line through the values, broken where there is none. */
static void put_line(FILE *to, const struct plot *p, size_t series, const double *v,
                     const struct axis *x, const struct axis *y)
{
    bool open = false, any = false;
    for (size_t i = 0; i < p->nx; i++) {
        if (!isnan(v[i])) {
            if (!any)
                fprintf(to, "<path class=\"line c%u d%u\" d=\"", p->series[series].colour,
                        p->series[series].dash);
            fprintf(to, "%c%.1f %.1f", open ? 'L' : 'M', position(x, p->x[i]), position(y, v[i]));
            any = true;
        }
        open = !isnan(v[i]);
    }
    if (any)
        fputs("\"/>\n", to);
}

/* Each marker says what it is when pointed at. */
static void put_marks(FILE *to, const struct plot *p, size_t series, const double *v,
                      const struct axis *x, const struct axis *y)
{
    const struct plot_series *s = &p->series[series];
    for (size_t i = 0; i < p->nx; i++) {
        if (isnan(v[i]))
            continue;
        put_mark(to, s, position(x, p->x[i]), position(y, v[i]));
        fprintf(to, "<title>%s, %.12g: %.4g</title></path>\n", s->label, p->x[i], v[i]);
    }
}

static void put_chart(FILE *to, const struct plot *p, size_t chart, double left, double top)
{
    struct axis x = {.from = left + MARGIN_LEFT + INSET,
                     .to = left + CHART_WIDTH - MARGIN_RIGHT - INSET};
    struct axis y = {.from = top + CHART_HEIGHT - MARGIN_BOTTOM - INSET,
                     .to = top + MARGIN_TOP + INSET};
    log_axis(&x, p->x[0], p->x[p->nx - 1], 12);
    y_axis(&y, p, chart);
    fprintf(to, "<g>\n<text class=\"chart\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x.from - INSET,
            top + MARGIN_TOP - 12, p->chart[chart].title);
    put_frame(to, &x, &y);
    fprintf(to, "<text class=\"small mid\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", (x.from + x.to) / 2,
            y.from + INSET + 34, p->x_title);
    for (size_t s = 0; s < p->nseries; s++) {
        struct axis lane = y;
        double up = lane_of(p, chart, s, &y);
        lane.from -= up;
        lane.to -= up;
        put_line(to, p, s, values_of(p, chart, s), &x, &lane);
        put_marks(to, p, s, values_of(p, chart, s), &x, &lane);
    }
    fputs("</g>\n", to);
}

void plot_write(FILE *to, const struct plot *p)
{
    assert(p->nx > 0 && p->nseries > 0 && p->ncharts > 0);
    size_t a_row = (WIDTH - LEGEND_LEFT) / LEGEND_ENTRY;
    size_t legend_rows = (p->nseries + a_row - 1) / a_row;
    size_t chart_rows = (p->ncharts + COLUMNS - 1) / COLUMNS;
    int charts_top = (int)(TITLE_HEIGHT + legend_rows * LEGEND_ROW);
    int height = charts_top + (int)chart_rows * CHART_HEIGHT + NOTE_HEIGHT;
    fprintf(to, head, WIDTH, height, WIDTH, height, p->title);
    fputs(style, to);
    fprintf(to, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", WIDTH, height);
    fprintf(to, "<text class=\"title\" x=\"%d\" y=\"28\">%s</text>\n", LEGEND_LEFT, p->title);
    put_legend(to, p, a_row);
    for (size_t i = 0; i < p->ncharts; i++) {
        size_t row = i / COLUMNS, column = i % COLUMNS;
        put_chart(to, p, i, (double)column * CHART_WIDTH, charts_top + (double)row * CHART_HEIGHT);
    }
    fprintf(to, "<text class=\"small\" x=\"%d\" y=\"%d\">%s</text>\n</svg>\n", LEGEND_LEFT,
            height - 14, p->note);
}
