package pages

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/ui"
)

// The size of a spark line in its own units; the stylesheet sets the one on the page.
const (
	sparkWidth  = 120.0
	sparkHeight = 28.0
)

// chart is one measure of one task: its line, and its newest value in words.
type chart struct {
	SVG  template.HTML
	Text string
}

// charts draws what was measured of a task. The zero value says that nobody measured it.
func charts(w ui.Words, s engine.Samples) (cpu, memory chart) {
	span := took(w, time.Duration(s.IntervalSeconds*max(len(s.CPUCores), len(s.MemoryBytes)))*time.Second)
	cpu = draw(s.CPUCores, 0.05, "cpu", cores, func(last, top string) string {
		return w.Say("chart.cpu", "last", last, "top", top, "span", span)
	})
	memory = draw(s.MemoryBytes, 1<<20, "memory", bytesText, func(last, top string) string {
		return w.Say("chart.memory", "last", last, "top", top, "span", span)
	})
	return cpu, memory
}

// draw makes a line of samples. least is a height that is not stretched over the whole drawing: noise is no mountain.
func draw(samples []*float64, least float64, class string, text func(float64) string, say func(last, top string) string) chart {
	highest, last := -1.0, 0.0
	for _, s := range samples {
		if measured(s) {
			highest, last = max(highest, *s), *s
		}
	}
	if highest < 0 {
		return chart{}
	}
	line, area := lineOf(samples, max(least, highest)*1.08)
	label := template.HTMLEscapeString(say(text(last), text(highest)))
	svg := fmt.Sprintf(`<svg class="spark spark-%s" viewBox="0 0 %g %g" preserveAspectRatio="none" role="img" aria-label="%s"><title>%s</title><path class="area" d="%s"/><path class="line" d="%s"/></svg>`,
		class, sparkWidth, sparkHeight, label, label, area, line)
	return chart{SVG: template.HTML(svg), Text: text(last)} //nolint:gosec // numbers and an escaped label
}

func measured(s *float64) bool { return s != nil && *s >= 0 && !math.IsInf(*s, 0) } // NaN is not >= 0

// lineOf gives the paths of the line and of the area below it; where nothing was measured there is none.
func lineOf(samples []*float64, top float64) (string, string) {
	var line, area strings.Builder
	step := sparkWidth / float64(max(len(samples)-1, 1))
	from := -1.0 // where the present stretch without a gap began
	end := func(at float64) {
		if from >= 0 {
			fmt.Fprintf(&area, "L%.1f %.1fL%.1f %.1fZ", at, sparkHeight, from, sparkHeight)
		}
		from = -1
	}
	before := 0.0
	for i, s := range samples {
		x := float64(i) * step
		if !measured(s) {
			end(before)
			continue
		}
		y := sparkHeight - 1.5 - (sparkHeight-3)*(*s/top)
		pen := "L"
		if from < 0 {
			pen, from = "M", x
		}
		fmt.Fprintf(&line, "%s%.1f %.1f", pen, x, y)
		fmt.Fprintf(&area, "%s%.1f %.1f", pen, x, y)
		before = x
	}
	end(before)
	return line.String(), area.String()
}

// countBar draws how many of how many run: one field each as long as they can be told apart.
func countBar(running, wanted uint64) template.HTML {
	const apart, width, gap = 16, 100.0, 1.6
	most := max(running, wanted)
	var b strings.Builder
	b.WriteString(`<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false">`)
	switch {
	case most == 0:
		b.WriteString(`<rect class="off" width="100" height="6"/>`)
	case most <= apart:
		each := (width - gap*float64(most-1)) / float64(most)
		for i := range most {
			class := "off"
			if i < running {
				class = "on"
			}
			fmt.Fprintf(&b, `<rect class="%s" x="%.2f" width="%.2f" height="6"/>`, class, float64(i)*(each+gap), each)
		}
	default:
		fmt.Fprintf(&b, `<rect class="off" width="100" height="6"/><rect class="on" width="%.2f" height="6"/>`, width*float64(running)/float64(most))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers alone
}
