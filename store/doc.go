// Package store keeps the agent's state in one bbolt file behind typed,
// checksummed collections (DESIGN 9, hardening H22 and H50).
package store
