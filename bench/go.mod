module github.com/oncehq/once/bench

go 1.26.0

require github.com/oncehq/once v0.0.0
