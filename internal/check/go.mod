module github.com/oncehq/once/internal/check

go 1.26

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/oncehq/once v0.0.0
)
