// Package lua holds our module for an nginx. It knows nothing else; the lab and the tests carry the file from here to where
// an nginx finds it. A configuration that uses it is examples/gateway.
package lua

import _ "embed" // rolling.lua

// Module is rolling.lua.
//
//go:embed rolling.lua
var Module string
