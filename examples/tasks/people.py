def is_adult(age):
    if age >= 18:
        result = True
    else:
        result = False
    return result
