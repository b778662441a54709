// Package drivers tests oncesql with drivers that oncesql itself should not depend on, not even in
// its tests: they bring in a C compiler, or dozens of modules.
package drivers
