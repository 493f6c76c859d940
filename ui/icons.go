package ui

import "html/template"

// shapes are drawn on a field of 16 by 16.
var shapes = map[string]string{
	"ok":     `<path d="M3.5 8.5l3 3 6-7"/>`,
	"run":    `<path d="M13 8a5 5 0 1 1-1.7-3.8M13 2.5v3h-3"/>`,
	"back":   `<path d="M3 8a5 5 0 1 0 1.7-3.8M3 2.5v3h3"/>`,
	"warn":   `<path d="M8 2.5l6 11H2zM8 6.5v3.2M8 11.6v.3"/>`,
	"bad":    `<path d="M4 4l8 8M12 4l-8 8"/>`,
	"idle":   `<circle cx="8" cy="8" r="5.2"/><path d="M5.5 8h5"/>`,
	"pause":  `<path d="M5.5 3.5v9M10.5 3.5v9"/>`,
	"clock":  `<circle cx="8" cy="8" r="5.5"/><path d="M8 5v3.2l2.2 1.4"/>`,
	"lock":   `<rect x="3.5" y="7" width="9" height="6.5" rx="1.5"/><path d="M5.5 7V5a2.5 2.5 0 0 1 5 0v2"/>`,
	"right":  `<path d="M6 3.5L10.5 8 6 12.5"/>`,
	"up":     `<path d="M8 13V3.5M4 7.5l4-4 4 4"/>`,
	"plus":   `<path d="M8 3.5v9M3.5 8h9"/>`,
	"minus":  `<path d="M3.5 8h9"/>`,
	"swap":   `<path d="M2.5 5.5h10l-2.5-2.5M13.5 10.5h-10L6 13"/>`,
	"lines":  `<path d="M3 4h10M3 8h10M3 12h6"/>`,
	"system": `<rect x="2" y="3" width="12" height="8.5" rx="1.5"/><path d="M6 14h4"/>`,
	"light":  `<circle cx="8" cy="8" r="2.8"/><path d="M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M3.4 12.6l1.1-1.1M11.5 4.5l1.1-1.1"/>`,
	"dark":   `<path d="M13.2 9.8A5.6 5.6 0 0 1 6.2 2.8a5.6 5.6 0 1 0 7 7z"/>`,
	"search": `<circle cx="7" cy="7" r="4.2"/><path d="M10.2 10.2l3.3 3.3"/>`,
	"box":    `<path d="M8 2l5.5 3v6L8 14l-5.5-3V5zM2.5 5L8 8l5.5-3M8 8v6"/>`,
}

// Icon is a small drawing in the colour of the text around it; "" for a name that there is none of. It says nothing to a
// screen reader: the word beside it does.
func Icon(name string) template.HTML {
	s, ok := shapes[name]
	if !ok {
		return ""
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">` + s + `</svg>`) //nolint:gosec // constant
}
