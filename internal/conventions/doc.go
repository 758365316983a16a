// Package conventions holds the rules of this repository that a machine can check, as tests. It has no product code.
// CONTRIBUTING.md explains the rules; lint (.golangci.yml) checks the ones that a linter knows.
package conventions
