package main

import (
	"encoding/xml"
	"slices"
	"strings"
)

// node is an element of a packet.
type node struct {
	XMLName  xml.Name
	Text     string `xml:",chardata"`
	Children []node `xml:",any"`
}

func (n node) at(path ...string) node {
	for _, name := range path {
		i := slices.IndexFunc(n.Children, func(c node) bool { return c.XMLName.Local == name })
		if i < 0 {
			return node{}
		}
		n = n.Children[i]
	}
	return n
}

func (n node) text(path ...string) string { return strings.TrimSpace(n.at(path...).Text) }

// orders of elements that the schema fixes, by the element that they are in.
var orders = map[string][]string{
	"get": {"filter", "dataset"}, "dataset": {"gen_info", "hosting"}, "set": {"filter", "values"}, "values": {"hosting"},
	"hosting": {"vrt_hst"}, "property": {"name", "value"}, "add_rec": {"site-id", "type", "host", "value"}, "get_rec": {"filter"},
	"del_rec": {"filter"}, "install": {"name", "site", "content"}, "update": {"name", "site", "content"},
	"content": {"csr", "pvt", "cert", "ca"}, "remove": {"filter", "site"}, "get-pool": {"filter"},
}

// valid holds a packet against the schema.
func valid(n node) bool {
	order, known := orders[n.XMLName.Local]
	at := 0
	for _, c := range n.Children {
		if known {
			for at < len(order) && order[at] != c.XMLName.Local {
				at++
			}
			if at == len(order) {
				return false
			}
		}
		if !valid(c) {
			return false
		}
	}
	return true
}

// operationOf gives operator and operation of a packet.
func operationOf(packet string) string {
	var n node
	if xml.Unmarshal([]byte(packet), &n) != nil || len(n.Children) == 0 || len(n.Children[0].Children) == 0 {
		return "no packet: " + packet
	}
	return n.Children[0].XMLName.Local + "/" + n.Children[0].Children[0].XMLName.Local
}
