package main

func retained(settings) error { return nil }
