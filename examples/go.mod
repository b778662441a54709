module github.com/oncehq/once/examples

go 1.26.0

require github.com/oncehq/once v0.0.0
