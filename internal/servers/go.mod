module github.com/oncehq/once/internal/servers

go 1.26
