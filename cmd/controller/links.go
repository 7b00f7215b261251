package main

import (
	"fmt"
	"html"
	"strings"

	"berth/control"
)

// htmlLinks is the list of links for an HTML mail body. Names come from file
// names, links from servers: both are escaped.
func htmlLinks(j control.Job) string {
	var b strings.Builder
	b.WriteString("<ul>\n")
	for _, it := range j.Items {
		name := html.EscapeString(it.Name)
		if it.Link != "" {
			name = fmt.Sprintf(`<a href="%s">%s</a>`, html.EscapeString(it.Link), name)
		}
		fmt.Fprintf(&b, "<li>%s (%s)</li>\n", name, size(it.Size))
	}
	b.WriteString("</ul>\n")
	return b.String()
}
