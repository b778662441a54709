module github.com/oncehq/once

go 1.26
