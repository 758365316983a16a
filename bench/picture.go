package main

import (
	"fmt"
	"strings"
	"time"
)

// Measures of the picture in pixels: a diagram of utilisation above one of waits.
const (
	pictureWidth, pictureHeight = 960, 560
	diagramLeft, diagramWidth   = 60, 880
	diagramHeight               = 200
	usedTop, waitsTop           = 50, 310
)

// svg draws a week: how much of the cluster was used over time, and how long each job waited.
func (w week) svg() string {
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="white"/>`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&s, `<text x="%d" y="20" font-size="15">%d hosts, %d jobs in a week: %.1f %% used, %.1f %% at most in any order</text>`+"\n",
		diagramLeft, w.hosts, len(w.jobs), 100*mean(w.used), 100*mean(w.bound))
	w.drawUse(&s)
	w.drawWaits(&s)
	s.WriteString("</svg>\n")
	return s.String()
}

func (w week) drawUse(s *strings.Builder) {
	axes(s, usedTop, "hosts in use (area), what no order can exceed (line)", "0 %", "100 %")
	points := func(shares []float64) string {
		var p strings.Builder
		for i, share := range shares {
			fmt.Fprintf(&p, "%.1f,%.1f ", across(time.Duration(i)*interval), usedTop+diagramHeight*(1-share))
		}
		return p.String()
	}
	bottom := usedTop + diagramHeight
	fmt.Fprintf(s, `<polygon fill="#7aa6d8" points="%d,%d %s%d,%d"/>`+"\n", diagramLeft, bottom, points(w.used), diagramLeft+diagramWidth, bottom)
	fmt.Fprintf(s, `<polyline fill="none" stroke="#c0392b" points="%s"/>`+"\n", points(w.bound))
}

// drawWaits draws the longest wait and the mean one of the jobs submitted in each interval.
func (w week) drawWaits(s *strings.Builder) {
	intervals := int(weekLong / interval)
	longest, all, jobs := make([]time.Duration, intervals), make([]time.Duration, intervals), make([]time.Duration, intervals)
	most := time.Hour
	for _, job := range w.jobs {
		wait := w.ran[job.Number].Start - job.Arrives
		i := min(intervals-1, int(job.Arrives/interval))
		longest[i] = max(longest[i], wait)
		all[i] += wait
		jobs[i]++
		most = max(most, wait)
	}
	axes(s, waitsTop, "longest wait (bars) and mean wait (line) of the jobs submitted at a time", "0", fmt.Sprintf("%.0f h", most.Hours()))
	height := func(wait time.Duration) float64 { return diagramHeight * float64(wait) / float64(most) }
	var mean strings.Builder
	for i := range intervals {
		at := across(time.Duration(i) * interval)
		fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="2" height="%.1f" fill="#7aa6d8"/>`+"\n", at, waitsTop+diagramHeight-height(longest[i]), height(longest[i]))
		fmt.Fprintf(&mean, "%.1f,%.1f ", at, waitsTop+diagramHeight-height(all[i]/max(1, jobs[i])))
	}
	fmt.Fprintf(s, `<polyline fill="none" stroke="#c0392b" points="%s"/>`+"\n", mean.String())
}

// axes draws the frame of a diagram with its days.
func axes(s *strings.Builder, top int, title, least, most string) {
	bottom := top + diagramHeight
	fmt.Fprintf(s, `<text x="%d" y="%d">%s</text>`+"\n", diagramLeft, top-8, title)
	fmt.Fprintf(s, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", diagramLeft-6, bottom, least)
	fmt.Fprintf(s, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", diagramLeft-6, top+10, most)
	fmt.Fprintf(s, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#999"/>`+"\n", diagramLeft, top, diagramWidth, diagramHeight)
	for day := range 7 {
		fmt.Fprintf(s, `<text x="%.1f" y="%d">day %d</text>`+"\n", across(time.Duration(day)*24*time.Hour), bottom+16, day+1)
	}
}

// across is where a time of the week is in the picture.
func across(at time.Duration) float64 {
	return diagramLeft + diagramWidth*float64(at)/float64(weekLong)
}
